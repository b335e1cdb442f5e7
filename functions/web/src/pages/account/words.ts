/** Roles, credentials and permissions in words. Pure. */
import type { SchemaCredentialKind, SchemaPermission, SchemaRole } from '../../api/openapi.gen';
import type { Session } from '../../api/operations';

/** The API calls admins owners, too: their rights are the same. */
export const ROLES: Readonly<Record<SchemaRole, { readonly name: string; readonly may: string }>> = {
  owner: { name: 'Owner or admin', may: 'Owners and admins do everything that the organization may do.' },
  member: { name: 'Member', may: 'Members create, start, stop and restore agents, but do not delete them.' },
  viewer: { name: 'Viewer', may: 'Viewers see everything of the organization and change nothing.' },
};

export const CREDENTIALS: Readonly<Record<SchemaCredentialKind, string>> = {
  key: 'An API key',
  session: 'A session of an API key',
  token: 'The identity provider',
};

/** In the order in which they are shown. */
export const PERMISSIONS: Readonly<Record<SchemaPermission, string>> = {
  read: 'See agents, their logs and backups, the credit and the bill. Every key may.',
  agents: 'Create, start, stop, open, restore and delete agents, as far as the role allows it.',
  billing: 'Change the settings, if the role allows it. Whoever may read sees the bill.',
  admin: 'Use the pages of operators, if the user of the key is a super admin.',
};

export type PermissionRow = {
  readonly permission: SchemaPermission;
  readonly granted: boolean;
  readonly text: string;
};

export const permissionRows = ({ permissions }: Pick<Session, 'permissions'>): readonly PermissionRow[] =>
  (Object.keys(PERMISSIONS) as SchemaPermission[]).map((permission) => ({
    permission,
    granted: permissions.includes(permission),
    text: PERMISSIONS[permission],
  }));

export function accountSentence({ organizationName, role, credential, permissions }: Session): string {
  const where = organizationName === '' ? '' : ` to ${organizationName}`;
  const who = `You are signed in${where} with the rights of ${{ owner: 'an owner', member: 'a member', viewer: 'a viewer' }[role]}.`;
  return credential !== 'token' && role !== 'viewer' && !permissions.includes('agents')
    ? `${who} Your key may only read.`
    : who;
}
