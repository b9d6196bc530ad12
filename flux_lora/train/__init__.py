"""Training: a loop that yields facts, what it keeps, and who receives them.

loop.py         the loop: batches in, steps out
loss.py         flow-matching loss
preservation.py reminders of the base, and how much they count
learner.py      float32 masters, accumulation, one optimizer step
optimizers.py   optimizers by name; the learning-rate schedule
checkpoints.py  adapter and optimizer state, whole or not there
reporters.py    metrics.jsonl, wandb, tensorboard, trackio
"""
