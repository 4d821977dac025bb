"""Istio's certificate service on gRPC, so that Istio's own agents get certificates here; and this server's own TLS.

Contract: `istio.v1.auth.IstioCertificateService/CreateCertificate`. The identity is the caller's, never the request's.
"""

from __future__ import annotations

import time
from typing import Any

import grpc
import structlog

from federation.model.errors import Denied, InvalidInput, Unavailable
from federation.runtime.latest import Latest
from istiod.ca.authn import Authenticator
from istiod.ca.issuer import Certificate, Issuer, utc_now
from istiod.ca.schema.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse

log = structlog.get_logger("ca")
SERVICE = "istio.v1.auth.IstioCertificateService"


class CertificateService:
    """Signs requests of authenticated callers."""

    def __init__(self, issuers: Latest[Issuer], authenticator: Authenticator) -> None:
        self._issuers = issuers
        self._authenticator = authenticator

    def handlers(self, secure: bool) -> grpc.GenericRpcHandler:
        """The one method. Callers on a listener that is not `secure` get nothing."""

        async def create(request: IstioCertificateRequest, context: Any) -> IstioCertificateResponse:
            return await self._create(request, context, secure)

        method = grpc.unary_unary_rpc_method_handler(
            create, IstioCertificateRequest.FromString, IstioCertificateResponse.SerializeToString
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"CreateCertificate": method})

    async def _create(self, request: IstioCertificateRequest, context: Any, secure: bool) -> IstioCertificateResponse:
        issuer = self._issuers.peek()
        try:
            if not secure:
                raise Denied("certificates are given out over TLS only")
            identity = self._authenticator.identify(context)
            if issuer is None:
                raise Unavailable("the CA of this cluster cannot be read now")
            chain = issuer.sign_csr(request.csr, identity, request.validity_duration, utc_now(time.time()))
        except Denied as denied:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(denied)[:1000])
        except Unavailable as away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(away)[:1000])
        except InvalidInput as wrong:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(wrong)[:1000])
        log.info("certificate_issued", identity=str(identity))
        return IstioCertificateResponse(cert_chain=chain)


class ServerTls:
    """The certificate of this process's TLS listeners, renewed at half life and whenever the CA changes."""

    def __init__(self, issuers: Latest[Issuer], names: tuple[str, ...]) -> None:
        self._issuers = issuers
        self._names = names
        self._made: tuple[Issuer, Certificate] | None = None

    async def credentials(self) -> Any:
        """Credentials for a grpc listener, as soon as the CA is known."""
        await self._issuers.wait()
        return grpc.dynamic_ssl_server_credentials(self._configuration(), self._newer, False)

    def _newer(self) -> Any:
        issuer = self._issuers.peek()
        made = self._made
        if issuer is None or (made is not None and made[0] is issuer and time.time() < made[1].renew_at):
            return None
        try:
            return self._configuration()
        except ValueError as wrong:  # the CA has ended: the last certificate may still be good
            log.warning("server_certificate_not_renewed", error=str(wrong))
            return None

    def _configuration(self) -> Any:
        issuer = self._issuers.peek()
        assert issuer is not None, "asked for before the CA was read"
        certificate = issuer.server(self._names, utc_now(time.time()))
        self._made = (issuer, certificate)
        return grpc.ssl_server_certificate_configuration([(certificate.key_pem, certificate.chain_pem)])
