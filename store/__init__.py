"""MEMORY: every conversation, rating, dataset, run and deployment, in one SQLite file.

In: records from `assistant` and `trainer`. Out: the same records, by query. This is the only package that
speaks SQL, and it knows nothing about models, tokens or web pages.
"""

from store.errors import StoreError
from store.store import Store

__all__ = ["Store", "StoreError"]
