"""Dialects: naming schemes for adapter files, read and written.

table.py            one row per dialect: keys, limits, loaders; which dialect a file is in
keys.py             KeyFormat: keys of prefix, module and ending; an adapter written in them
read.py             a state dict -> an adapter
module_names.py     FLUX.1's module names: diffusers', BFL's, and either with underscores
flux2_names.py      FLUX.2's
flux3_names.py      FLUX.3's
module_tensors.py   the tensors of one module's delta, and a checkpoint's own keys
bfl.py              deltas of diffusers' modules <-> deltas of BFL's fused modules
alpha.py            rank and alpha from peft's config or diffusers' metadata
text_encoders.py    module names and keys of CLIP and T5
peft.py             peft's folders and their adapter_config.json
xlabs.py            XLabs' processor keys
diffsynth.py        DiffSynth-Studio's own names
notes.py            what is unusual about an adapter that was read

To add a dialect, add its row to KNOWN in table.py (with a file like xlabs.py if KeyFormat cannot spell its keys) and,
if it can be written, its name to ExportDialect in config/choices.py.
"""
