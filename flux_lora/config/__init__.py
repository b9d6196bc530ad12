"""Every knob: its default, its reason, the rules between knobs, and how YAML becomes a RunConfig.

schema.py          the knobs of a run, as frozen dataclasses; what stands below a field is its reason in --help
data.py            the knobs of images, captions, checks and the captioner
choices.py         enums: the knobs that take one of a few names
file_verbs.py      arguments of the verbs that take files and no recipe: inspect, convert, merge, ...
rules.py           rules across knobs, each with its fix
compose.py         recipes, groups and overrides -> RunConfig, by Hydra; write and read a run folder's recipe.yaml
old_names.py       keys of earlier versions, in recipes and on the command line -> the keys of this one
key_values.py      key=value words -> the arguments of a file verb
knobs.py           every knob by its dotted key; RENAMED, and SYNONYMS: the options of other trainers
error_messages.py  exceptions of Hydra and OmegaConf -> ConfigErrors with the nearest right word
help.py            --help: verbs, groups and knobs
assets.py          the folders recipes/ and data_templates/, in a wheel and in a checkout
"""
