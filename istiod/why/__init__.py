"""What a proxy would do with one request, step by step, and which object decided each step.

Works on the same specs that encoders get, so it cannot say anything else than what was sent; Envoy's own rules of
choosing (listener, filter chain, virtual host, route) are written down here once. Pure.
"""
