"""Every knob: its default, its reason, the rules between knobs, and how YAML becomes a RunConfig."""
