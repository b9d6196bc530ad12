"""A verb a file: arguments in, runs/ called, terminal out. Each reads as a list of what it does.

check.py             read photos and captions, list every problem
caption.py           propose captions
plan.py              what a run will take
prepare.py           encode into the cache
train.py             train the adapter
control.py           talk to a run that trains
evaluate.py          score and choose a checkpoint
compare_runs.py      runs side by side (evaluate runs=[...])
export.py            write and prove the files of a run
export_adapter.py    the same for another tool's adapter (export adapter=...)
run.py               all of these, then the report
cache.py             status, verify and prune of the cache
inspect.py           what a LoRA file holds
convert.py           a file in other names
merge.py             several LoRAs in one
resize.py            another rank
extract.py           the difference of two models
fuse.py              a LoRA inside its base
render.py            images of prompts, with a LoRA or without
reproduce.py         the recipe that a file holds
lora_files.py        what the verbs on LoRA files share
terminal.py          progress bars, status line, exit codes
console_reporter.py  the steps of a run on the terminal
"""
