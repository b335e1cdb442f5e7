/** The users of an organization and their API keys in words. Pure. */
import type { SchemaPermission } from '../../api/openapi.gen';
import type { OrganizationUser } from '../../api/operations';
import { many } from '../../ui/format';
import { PERMISSIONS } from '../account/words';

export const userName = ({ id, name, email }: Pick<OrganizationUser, 'id' | 'name' | 'email'>): string =>
  name?.trim() || email || `user ${id.slice(0, 8)}`;

/** What is said of a user below the name. */
export function userNote({ name, email, role, superAdmin, active }: OrganizationUser): string {
  const parts = [
    role,
    superAdmin ? 'operator of this cloud' : '',
    name?.trim() && email ? email : '',
    active ? '' : 'not active',
  ];
  return parts.filter(Boolean).join(', ');
}

/** What a new key of this user can permit besides reading, which every key does. */
export const choices = ({ superAdmin }: Pick<OrganizationUser, 'superAdmin'>): readonly SchemaPermission[] =>
  (Object.keys(PERMISSIONS) as SchemaPermission[]).filter(
    (permission) => permission !== 'read' && (permission !== 'admin' || superAdmin),
  );

/** What is chosen unless somebody chooses: everything but the pages of operators. */
export const CHOSEN: readonly SchemaPermission[] = ['agents', 'billing'];

export function usersSentence(users: readonly OrganizationUser[], more: boolean): string {
  if (users.length === 0) return 'Nobody belongs to this organization.';
  const keys = users.reduce((sum, { apiKeys }) => sum + apiKeys.length, 0);
  const all = `${more ? 'The newest ' : ''}${many(users.length, 'user')}`;
  return keys === 0
    ? `${all}, without an API key: nobody can sign in with one.`
    : `${all} with ${many(keys, 'API key')}.`;
}
