"""The dataset as a page for people, and its findings in the formats that other programs read."""
