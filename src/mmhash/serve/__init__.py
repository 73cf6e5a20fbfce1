"""``mmhash serve``: the report page with a predict form, for the user of this machine alone.

:mod:`guard` says whom a request is from, :mod:`answer` makes predictions plain values, :mod:`app`
joins both into the web application, :mod:`listen` binds it to 127.0.0.1. :mod:`shown` has the page,
:mod:`watched` the run. flask and waitress are optional (requirements-serve.txt) and imported in
:mod:`app` and :mod:`listen` only.
"""
