# The work queue for C code: docs/cimport.md.
from fastcore._ext.capi cimport WorkQueue, queue_add, queue_add_after, queue_done, queue_get, queue_len
