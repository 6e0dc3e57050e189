"""Sign in with an identity provider: OpenID Connect's code flow with PKCE, by Authlib.

Only `refusals` may be imported where no provider is configured: Authlib is in the extra `oidc`.
"""
