"""The compiled primitives; each `.pyx` has its stub beside it and its twin in `fastcore._py`."""
