"""The certificate authority of one cluster: who is asking, what they get, and when it is renewed."""
