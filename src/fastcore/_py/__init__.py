"""The primitives in plain Python: specification, oracle, baseline, and fallback under FASTCORE_PURE=1."""
