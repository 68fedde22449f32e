"""File formats that conversations are carried in and out with: one module each, rows ⇄ records, all pure.

In: rows as bytes or cells. Out: `store.carried` types, and rows again. Know neither files nor the store.
"""

from store.formats.format import Format
from store.formats.open_webui import OPEN_WEBUI
from store.formats.openai_chat import OPENAI
from store.formats.sharegpt import SHAREGPT
from store.formats.shorthand import SHORTHAND
from store.formats.trl_completion import TRL_COMPLETION
from store.formats.trl_preference import TRL_PREFERENCE

# The first that recognises a row is asked to read it.
JSON_FORMATS = (SHORTHAND, OPENAI, TRL_PREFERENCE, TRL_COMPLETION, SHAREGPT, OPEN_WEBUI)

__all__ = ["JSON_FORMATS", "Format"]
