# Caches for C code: docs/cimport.md.
from fastcore._ext.capi cimport LRUCache, cache_get, cache_set
