# Pools for C code: docs/cimport.md.
from fastcore._ext.capi cimport _Pool as Pool, pool_acquire, pool_release
