"""The dataset report as one HTML file, and its findings in the formats that other programs read.

cards.py     what the report shows of one image, and images by bucket
page.py      DatasetReport -> HTML
formats.py   findings as text, JSON, SARIF 2.1.0, JUnit XML
templates/   Jinja templates, style and script of the page
"""
