"""An adapter (LoRA, DoRA, LoKr, LoHa, OFT) apart from any model: tensors, files, and the way into a transformer.

layer_types.py      the five layer types, what each adds to a weight, and Adapter: one of them per layer
low_rank.py         SVD of low-rank, full and Kronecker matrices; the nearest LoRA of a rank
merge_resize.py     merge, resize, subtract, split, cast; extract from two checkpoints
header.py           the header of a safetensors file, read without trusting it
files.py            adapter files of any dialect, read and written
metadata.py         modelspec, sd-scripts' and our own metadata of a file; its hashes; thumbnail
inspection.py       what is in a LoRA file of any trainer
reproduce.py        the recipe in a file, and what training it again needs
base_weights.py     a base transformer on disk: shards, single weights, the rows that a delta belongs to
fuse.py             an adapter added to its base's weights: a new model
quantized_merge.py  how much of an adapter is lost when it is merged into a quantised base
start.py           a LoRA file as the place to begin
trainable.py        which layers are trained, and which parameters of each layer type
fresh.py            what a new adapter begins as
peft_modules.py     a layer's delta inside peft's module for it
attach.py           an adapter in and out of a transformer, through peft
write_proven.py     an adapter written in a dialect, and the file proven
dialects/           naming schemes for adapter files
loaders/            the programs that load FLUX LoRA files, simulated
proof/              a written file, checked as the programs that it is for will load it
"""

import logging

# bitsandbytes complains about a kernel that is not ours to use as soon as peft is imported.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
