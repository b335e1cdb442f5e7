import { useCallback, useMemo, useState } from 'react';
import type { Organization, OrganizationApiKey, OrganizationUser } from '../../api/operations';
import { getUsers } from '../../api/operators';
import { usePages } from '../../data/pages';
import { Button } from '../../ui/button';
import { Dialog } from '../../ui/dialog';
import { More } from '../../ui/more';
import { PlainTable } from '../../ui/plain-table';
import { Refusal } from '../../ui/refusal';
import { Load, Skeleton } from '../../ui/states';
import type { Column } from '../../ui/table';
import { Age } from '../../ui/time';
import { NewApiKey, RevokeApiKey } from './api-keys';
import { NewUser } from './new-user';
import css from './page.module.css';
import { userName, userNote, usersSentence } from './users';

type Step =
  | { readonly at: 'list' }
  | { readonly at: 'user' }
  | { readonly at: 'key'; readonly user: OrganizationUser }
  | { readonly at: 'revoke'; readonly user: OrganizationUser; readonly apiKey: OrganizationApiKey };
type Go = (step: Step) => void;

type Props = { readonly organization: Pick<Organization, 'id' | 'name'>; readonly onClose: () => void };

/** Who belongs to an organization, and with which keys. */
export function UsersDialog({ organization: { id, name }, onClose }: Props) {
  const [step, go] = useState<Step>({ at: 'list' });
  const back = () => go({ at: 'list' });
  const common = { organizationId: id, onBack: back };
  return (
    <Dialog open wide onClose={onClose} title={`Users and API keys: ${name}`}>
      {step.at === 'list' ? <UserList organizationId={id} go={go} /> : null}
      {step.at === 'user' ? <NewUser {...common} /> : null}
      {step.at === 'key' ? <NewApiKey {...common} user={step.user} /> : null}
      {step.at === 'revoke' ? <RevokeApiKey {...common} user={step.user} apiKey={step.apiKey} /> : null}
    </Dialog>
  );
}

function UserList({ organizationId, go }: { organizationId: string; go: Go }) {
  const ask = useCallback(
    (cursor: string | undefined, signal: AbortSignal) => getUsers(organizationId, cursor, signal),
    [organizationId],
  );
  const list = usePages(['organization-users', organizationId], ask);
  return (
    <Load query={list.query} what="This organization" skeleton={<Skeleton lines={4} height="2rem" />}>
      {({ rows, more }) => (
        <div className="stack">
          <div className={css.who}>
            <p>{usersSentence(rows, more)}</p>
            <Button onClick={() => go({ at: 'user' })}>Add a user</Button>
          </div>
          {rows.map((user) => (
            <User key={user.id} user={user} go={go} />
          ))}
          {list.failed ? <Refusal error={list.failed} title="Not loaded" /> : null}
          <More when={more} busy={list.growing} onClick={list.grow}>
            Older users
          </More>
        </div>
      )}
    </Load>
  );
}

function User({ user, go }: { user: OrganizationUser; go: Go }) {
  const name = userName(user);
  const columns = useMemo((): readonly Column<OrganizationApiKey>[] => {
    const revoke = (apiKey: OrganizationApiKey) => go({ at: 'revoke', user, apiKey });
    return [
      {
        id: 'name',
        header: 'API key',
        card: 'title',
        cell: (key) => (
          <>
            {key.name} <code className="muted">{key.prefix}…</code>
          </>
        ),
      },
      { id: 'permissions', header: 'Permits', cell: (key) => key.permissions.join(', ') },
      { id: 'used', header: 'Last used', end: true, cell: (key) => <Age at={key.lastUsedAt} none="never" /> },
      { id: 'expires', header: 'Expires', end: true, cell: (key) => <Expiry at={key.expiresAt} /> },
      {
        id: 'revoke',
        header: '',
        end: true,
        cell: (key) => (
          <Button small aria-label={`Revoke ${key.name}`} onClick={() => revoke(key)}>
            Revoke
          </Button>
        ),
      },
    ];
  }, [user, go]);
  return (
    <section className={css.user}>
      <div className={css.who}>
        <div>
          <h3>{name}</h3>
          <p className="muted">{userNote(user)}</p>
        </div>
        <Button small aria-label={`New API key for ${name}`} onClick={() => go({ at: 'key', user })}>
          New API key
        </Button>
      </div>
      {user.apiKeys.length === 0 ? (
        <p className="muted">No API key that can be used.</p>
      ) : (
        <PlainTable caption={`API keys of ${name}`} rows={user.apiKeys} columns={columns} id={(key) => key.id} />
      )}
    </section>
  );
}

const Expiry = ({ at }: { at: string | null }) =>
  at === null ? <span className="muted">never</span> : <time dateTime={at}>{at.slice(0, 10)}</time>;
