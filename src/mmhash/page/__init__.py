"""``reports/index.html``: what a run did, on one page that opens without a network.

:mod:`source` reads the outputs of the stages, a module a subject turns them into plain values,
:mod:`pictures` makes the thumbnails, :mod:`build` puts all of it together, :mod:`document` writes
it into ``assets/page.html`` with the styles and scripts beside that file.
"""
