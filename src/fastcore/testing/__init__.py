"""What tests of controllers need: a virtual clock, an embedded API server, and a real one."""
