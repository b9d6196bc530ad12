"""New subjects for the mini base, each with photos, prompts, near-twins and a judge that knows its parts.

subject.py   a subject: outline, parts, colours, trigger, grounds; drawn anew from a number
twins.py     the same subject with one part, colour or order changed
judge.py     whether an image shows a subject: strict and mild
folder.py    a subject as a folder to train on
gallery.py   which subjects are tuned on and which are only reported on

    python -m benchmarks.subjects            the judge's accuracy, as a table
    python -m benchmarks.subjects FOLDER     every subject as a folder to train on, and a sheet to look at
"""
