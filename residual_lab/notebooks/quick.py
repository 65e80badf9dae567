"""Imported before nbformat: jsonschema would build a grammar of IRIs, which takes seconds, and no notebook has one to check."""

import sys

sys.modules.setdefault("rfc3987_syntax", None)
