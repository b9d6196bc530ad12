"""Did it learn the subject, does it still follow prompts, and what did it spoil?"""
