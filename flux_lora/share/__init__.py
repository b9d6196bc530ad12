"""What goes beside the exported file so that others can use it: workflow, snippet, model card, zip and upload."""
