"""What lies beside an exported file so that others can use it, and how it is shared.

base_models.py   known base models: hub id, file name in ComfyUI, licence
nodes.py         the inputs and outputs of ComfyUI's nodes, as data
workflow.py      the ComfyUI workflow, as API JSON and as canvas
validate.py      what ComfyUI would refuse in a workflow
snippets.py      the diffusers program, and a hint for ComfyUI
card.py          the model card in the hub's format
write.py         writes all of these beside the exported file
publish.py       the .zip, and the upload to the Hugging Face hub
"""
