"""The published site: gather the sources, build the book, serve it.

``sources`` makes the book's source folder, ``build`` runs Jupyter Book on it and adds the live labs,
``serve`` shows the result on this machine; ``theme`` holds the Sphinx extensions.
Nothing here needs torch: the pages are made from stored outputs and recordings.
"""

from residual_lab.site.command import run

__all__ = ["run"]
