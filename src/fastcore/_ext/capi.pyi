# Only for cimport: see capi.pxd.

__pyx_capi__: dict[str, object]
