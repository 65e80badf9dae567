"""The site's reference pages: an introduction from ``pages/``, then what is made from a data file; pages for instructors."""

from __future__ import annotations

from pathlib import Path


def names(root: Path) -> list[str]:
    """Where the pages lie in the repository: every page but the course map, lessons and exercises."""
    return [path.relative_to(root).as_posix() for folder in ("pages", "instructors") for path in sorted((root / folder).glob("*.md"))]


def pages(root: Path) -> dict[str, str]:
    """Each page's Markdown by its name."""
    texts = {name: (root / name).read_text(encoding="utf-8") for name in names(root)}
    return {name: f"{text.rstrip()}\n\n{_made(name, root)}".rstrip() + "\n" for name, text in texts.items()}


def _made(name: str, root: Path) -> str:
    """What follows a page's introduction; imported late: the parser of bibliographies comes with Jupyter Book."""
    from residual_lab.site import bibliography, big_settings, glossary, ledger, times

    making = {
        "pages/ledger.md": lambda: ledger.page(root),
        "pages/glossary.md": glossary.page,
        "pages/bibliography.md": lambda: bibliography.page(root),
        "pages/execution_time.md": lambda: times.page(root),
        "pages/big_settings.md": big_settings.page,
    }
    return making[name]() if name in making else ""
