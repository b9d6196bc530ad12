"""One run as a thing that can be opened, with no terminal. commands/ call it, and hand in where progress goes.

run.py             Run: recipe, folder, device, family, encoders, opened once
folder.py          where each file of a run lies
resume.py          which knobs may change between two commands on one folder
lock.py            one process trains in a run folder
dataset.py         images, held-out images, prompts, bucket plan, findings
preflight.py       refuse before anything is encoded what would end worthless
plan.py            memory by stage, work and time, counted before the start
auto_hardware.py   the fastest way that fits the GPU
memory_check.py    a step and a preview before step 0, their memory beside the plan's
edits.py           pairs of an edit: what held-out ones are asked, and which checkpoint ships
encoding.py        images, captions and prompts into the cache
regularization.py  class images and preservation samples
base_answers.py    what the base answers about them, asked once
hardest.py         photos whose loss stands out
later_stages.py    what evaluation, export and upload need, asked before the first step
photo_losses.py    what each photo taught: its loss beside the base's
held_out.py        the loss on held-out photos while training
learning_check.py  after a twentieth of a run: whether it learns, and not too fast
stop_request.py    Ctrl-C and SIGTERM wait for a checkpoint
control.py         requests to a run that trains
non_finite.py      steps that are not finite: written down, skipped or the end
slow_steps.py      steps that have become slow
out_of_memory.py   which setting buys how much memory
outcome.py         whether training has succeeded
early_stop.py      scores while training, and its end where more steps bring nothing
training.py        the learner and its steps; by one process or several
previews.py        images drawn now and again with the same noise
pauses.py          between two steps: checkpoints, previews, the held-out loss, what looks amiss
candidates.py      checkpoints at strengths, their images, which are judged in full
evaluation.py      candidates scored; the choice
distilled.py       the chosen one on the model that was distilled from the base
comparison.py      several runs side by side
exporting.py       the chosen adapter in each dialect, proven
sharing.py         workflow, snippet, card, zip, upload
report.py          report.html
edit_page.py       the same of an edit
report_parts.py    what both show: photos, curve, previews, the file
dataset_report.py  dataset/report.html
manifest.py        dataset/manifest.jsonl
tracking.py        the evaluation in the run's tracker
summary.py         summary.json
"""
