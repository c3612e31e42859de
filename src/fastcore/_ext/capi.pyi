# Only for cimport: see capi.pxd.
