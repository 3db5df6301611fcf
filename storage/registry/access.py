"""How a registry is to be reached, as the options of a command say: certificates, credentials, patience."""

from __future__ import annotations

from dataclasses import dataclass, field

from storage.references import Reference
from storage.registry.patience import Patience
from storage.settings.auth import Credentials, find_credentials
from storage.settings.registries_conf import Endpoint, RegistriesConf, with_tls_verify


@dataclass(frozen=True, slots=True)
class Access:
    """`tls_verify`: None is what registries.conf says. `certificates`: a folder in the place of certs.d. `credentials`
    go before those of `authfile`, and that before the usual files."""

    tls_verify: bool | None = None
    certificates: str | None = None
    authfile: str | None = None
    credentials: Credentials | None = None
    patience: Patience = field(default_factory=Patience)

    def endpoint(self, conf: RegistriesConf, reference: Reference) -> Endpoint:
        """The registry itself, no mirror of it. Raises RegistryError where it is blocked."""
        return with_tls_verify(conf.endpoints(reference)[-1:], self.tls_verify, self.certificates)[0]

    def registry(self, conf: RegistriesConf, host: str) -> Endpoint:
        """The registry at `host` as a whole."""
        entry = conf.registry_of(host)
        endpoint = Endpoint(host, "", entry.insecure if entry else False)
        return with_tls_verify([endpoint], self.tls_verify, self.certificates)[0]

    def credentials_for(self, conf: RegistriesConf, endpoint: Endpoint) -> Credentials | None:
        """Who to be there; None is nobody. Raises what `find_credentials` does."""
        name = f"{endpoint.host}/{endpoint.repository}".rstrip("/")
        return self.credentials or find_credentials(name, self.authfile, conf.helpers)
