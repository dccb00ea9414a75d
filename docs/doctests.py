"""Docstrings as they read in Python, for the site: doctests as code wherever they stand, and "> 0" as no quotation."""

import re
from typing import Any

from griffe import Extension, Object

_BLOCK = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)


class Doctests(Extension):
    """Fences every block that begins with a prompt, up to the next empty line."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Changes the docstring in place."""
        if obj.docstring:
            text = _BLOCK.sub(lambda block: f"```pycon\n{block.group()}\n```", obj.docstring.value)
            obj.docstring.value = text.replace(": > ", ": &gt; ").replace(": >= ", ": &gt;= ")
