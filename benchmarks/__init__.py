"""How fast our step is, beside the diffusers script's. Run as `python -m benchmarks.step` and `.gpu`."""
