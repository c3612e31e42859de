# Rate limits for C code: docs/cimport.md.
from fastcore._ext.capi cimport KeyedTokenBucket, TokenBucket, bucket_allow, keyed_allow
