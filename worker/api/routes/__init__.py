"""The routes: each translates a request, calls one function and answers."""
