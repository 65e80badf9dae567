"""The course's public addresses: the one place that badges, install cells and links are made from."""

OWNER = "residual-lab"
REPOSITORY = "residual-lab"
BRANCH = "main"

REPO_URL = f"https://github.com/{OWNER}/{REPOSITORY}"
SITE_URL = f"https://{OWNER}.github.io/{REPOSITORY}"


def colab_url(notebook: str) -> str:
    """Colab address of a notebook, e.g. ``lessons/01_degradation.ipynb``."""
    return f"https://colab.research.google.com/github/{OWNER}/{REPOSITORY}/blob/{BRANCH}/{notebook}"


def binder_url(notebook: str) -> str:
    """Binder address that opens a notebook in JupyterLab."""
    return f"https://mybinder.org/v2/gh/{OWNER}/{REPOSITORY}/{BRANCH}?urlpath=lab/tree/{notebook}"


def page_url(page: str) -> str:
    """Address of a page of the published site, e.g. ``lessons/01_degradation``."""
    return f"{SITE_URL}/{page}.html"
