"""The store: every conversation, rating, dataset, run and deployment, in one SQLite file."""

from store.errors import StoreError
from store.store import Store

__all__ = ["Store", "StoreError"]
