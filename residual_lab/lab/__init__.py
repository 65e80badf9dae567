"""The live lab: an experiment with controls, charts and pins, in a notebook and on the site."""

__all__ = ["Lab"]


def __getattr__(name: str):
    """`Lab` needs torch; the site, predictions and quizzes use this package's front end without it."""
    if name == "Lab":
        from residual_lab.lab.widget import Lab

        return Lab
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
