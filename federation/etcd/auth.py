"""etcd's users, roles and permissions, for the one who sets up the store.

Needs the root role once authentication is on. Knows nothing of clusters or of which prefix is whose.
"""

from __future__ import annotations

from federation.etcd import rpc
from federation.etcd.connection import Connection
from federation.etcd.schema import etcd_pb2 as pb
from federation.etcd.values import Permission, decode_permission, encode_permission, encode_range


class Auth:
    """Administration. All raise Unavailable and Denied, and Conflict (add what is, change what is not)."""

    def __init__(self, connection: Connection) -> None:
        self._call = connection.call

    async def enable(self) -> None:
        """Switch authentication on. Needs the user root with the role root; nothing happens when it is on."""
        await self._call(rpc.AUTH_ENABLE, pb.Empty())

    async def disable(self) -> None:
        """Switch authentication off."""
        await self._call(rpc.AUTH_DISABLE, pb.Empty())

    async def users(self) -> tuple[str, ...]:
        """All user names."""
        return tuple((await self._call(rpc.USER_LIST, pb.Empty())).names)

    async def add_user(self, name: str, password: str | None = None) -> None:
        """A new user; without a password it can only come with a client certificate of this common name."""
        options = pb.UserAddRequest.Options(no_password=password is None)
        await self._call(rpc.USER_ADD, pb.UserAddRequest(name=name, password=password or "", options=options))

    async def change_password(self, name: str, password: str) -> None:
        """Set a user's password."""
        await self._call(rpc.USER_CHANGE_PASSWORD, pb.UserPasswordRequest(name=name, password=password))

    async def delete_user(self, name: str) -> None:
        """Remove a user."""
        await self._call(rpc.USER_DELETE, pb.NameRequest(name=name))

    async def roles_of(self, user: str) -> tuple[str, ...]:
        """The roles a user has."""
        return tuple((await self._call(rpc.USER_GET, pb.NameRequest(name=user))).names)

    async def grant_role(self, user: str, role: str) -> None:
        """Give a user a role."""
        await self._call(rpc.USER_GRANT_ROLE, pb.UserRoleRequest(user=user, role=role))

    async def revoke_role(self, user: str, role: str) -> None:
        """Take a role from a user."""
        await self._call(rpc.USER_REVOKE_ROLE, pb.UserRoleRequest(user=user, role=role))

    async def roles(self) -> tuple[str, ...]:
        """All role names."""
        return tuple((await self._call(rpc.ROLE_LIST, pb.Empty())).names)

    async def add_role(self, name: str) -> None:
        """A new role, which may do nothing yet."""
        await self._call(rpc.ROLE_ADD, pb.NameRequest(name=name))

    async def delete_role(self, name: str) -> None:
        """Remove a role, also from its users."""
        await self._call(rpc.ROLE_DELETE, pb.NameRequest(name=name))

    async def permissions(self, role: str) -> tuple[Permission, ...]:
        """What a role may do."""
        answer = await self._call(rpc.ROLE_GET, pb.NameRequest(name=role))
        return tuple(decode_permission(permission) for permission in answer.permissions)

    async def grant_permission(self, role: str, permission: Permission) -> None:
        """Let a role do more. A permission for the same key or prefix is replaced."""
        request = pb.RoleGrantRequest(role=role, permission=encode_permission(permission))
        await self._call(rpc.ROLE_GRANT, request)

    async def revoke_permission(self, role: str, key: str, prefix: bool = True) -> None:
        """Take the permission for exactly this key or prefix from a role."""
        first, end = encode_range(key, prefix)
        await self._call(rpc.ROLE_REVOKE, pb.RoleRevokeRequest(role=role, key=first, range_end=end))
