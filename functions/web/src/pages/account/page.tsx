import { useEffect } from 'react';
import { confirmSession, useUser } from '../../data/session';
import { Copy } from '../../ui/copy';
import { Facts } from '../../ui/facts';
import { Page } from '../../ui/page';
import { PlainTable } from '../../ui/plain-table';
import { Block } from '../../ui/states';
import { Status } from '../../ui/status';
import type { Column } from '../../ui/table';
import { Moment } from '../../ui/time';
import css from './page.module.css';
import { accountSentence, CREDENTIALS, type PermissionRow, permissionRows, ROLES } from './words';

const COLUMNS: readonly Column<PermissionRow>[] = [
  { id: 'permission', header: 'Permission', card: 'title', cell: (row) => <code>{row.permission}</code> },
  {
    id: 'granted',
    header: 'This key',
    cell: (row) => <Status tone={row.granted ? 'ok' : 'off'}>{row.granted ? 'has it' : 'does not have it'}</Status>,
  },
  { id: 'text', header: 'What it permits', cell: (row) => row.text },
];

const Id = ({ id, label }: { id: string; label: string }) => (
  <span className={css.id}>
    <code>{id}</code> <Copy text={id} label={label} />
  </span>
);

/** Who is signed in, and what role and key permit. */
export default function Account() {
  const user = useUser();
  useEffect(() => {
    // The role may have changed since the page was loaded.
    void confirmSession();
  }, []);
  if (user === null) return null;
  const role = ROLES[user.role];
  return (
    <Page title="Account" sentence={accountSentence(user)}>
      <Facts
        facts={[
          {
            name: 'Organization',
            value: user.organizationName || 'without a name',
            more: <Id id={user.organizationId} label="Copy the organization's identifier" />,
          },
          { name: 'User', value: <Id id={user.userId} label="Copy the user's identifier" /> },
          { name: 'Role', value: role.name, more: role.may },
          {
            name: 'Signed in with',
            value: CREDENTIALS[user.credential],
            more: user.expiresAt === null ? null : <>until {<Moment at={user.expiresAt} />}</>,
          },
          { name: 'Operator of this cloud', value: user.superAdmin ? 'Yes' : 'No' },
        ]}
      />
      <Block title="Permissions">
        {user.credential === 'token' ? (
          <p>You signed in without an API key, so only your role limits what you may do.</p>
        ) : (
          <>
            <p>You may do what both your role and your key allow.</p>
            <PlainTable
              caption="Permissions of the key"
              rows={permissionRows(user)}
              columns={COLUMNS}
              id={(row) => row.permission}
            />
          </>
        )}
      </Block>
    </Page>
  );
}
