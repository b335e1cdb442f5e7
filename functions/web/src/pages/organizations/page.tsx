import { Plus } from 'lucide-react';
import { useCallback, useDeferredValue, useMemo, useState } from 'react';
import type { Organization } from '../../api/operations';
import { getOrganizations } from '../../api/operators';
import { usePages } from '../../data/pages';
import { useUrlState } from '../../data/url';
import { Button } from '../../ui/button';
import { Copy } from '../../ui/copy';
import { Field, TextInput } from '../../ui/field';
import { Filters } from '../../ui/filters';
import { Link } from '../../ui/link';
import { ListPage } from '../../ui/list';
import { Menu } from '../../ui/menu';
import { Money } from '../../ui/money';
import { Note } from '../../ui/states';
import { Status } from '../../ui/status';
import type { Column } from '../../ui/table';
import { Age } from '../../ui/time';
import { CreditDialog } from './credit-dialog';
import { type CreditKind, organizationsSentence, TITLES } from './effects';
import { LimitsDialog } from './limits-dialog';
import { NewOrganization } from './new-organization';
import css from './page.module.css';
import { UsersDialog } from './users-dialog';

const DEFAULTS = { q: '' };
type Ask = (organization: Organization, kind: CreditKind | 'limits' | 'users') => void;

const columns = (ask: Ask): readonly Column<Organization>[] => [
  {
    id: 'name',
    header: 'Organization',
    card: 'title',
    cell: (row) => (
      <span className={css.two}>
        <span className="clip">{row.name}</span>
        <span className={css.id}>
          <code>{row.id}</code>
          <Copy text={row.id} label={`Copy the id of ${row.name}`} />
        </span>
      </span>
    ),
  },
  {
    id: 'balance',
    header: 'Balance',
    end: true,
    card: 'aside',
    width: '9rem',
    cell: (row) => (row.balance === null ? <Status tone="bad">no amount</Status> : <Money amount={row.balance} />),
  },
  {
    id: 'owed',
    header: 'Owed',
    end: true,
    width: '8rem',
    cell: (row) =>
      row.owed > 0 ? (
        <Status tone="bad">
          <Money amount={row.owed} />
        </Status>
      ) : (
        <span className="muted">nothing</span>
      ),
  },
  {
    id: 'agents',
    header: 'Agents',
    end: true,
    width: '6rem',
    cell: (row) =>
      row.agents > 0 ? <Link href={`/containers?q=${row.id}`}>{row.agents}</Link> : <span className="muted">0</span>,
  },
  {
    id: 'active',
    header: 'State',
    width: '8rem',
    from: 'm',
    cell: (row) => (row.active ? 'active' : <Status tone="warn">inactive</Status>),
  },
  { id: 'created', header: 'Created', end: true, width: '7rem', from: 'm', cell: (row) => <Age at={row.createdAt} /> },
  {
    id: 'menu',
    header: '',
    end: true,
    width: '3.25rem',
    card: 'actions',
    cell: (row) => (
      <Menu
        small
        label={`Actions for ${row.name}`}
        items={() => [
          { label: `${TITLES.grant}…`, onSelect: () => ask(row, 'grant') },
          { label: `${TITLES.refund}…`, danger: true, onSelect: () => ask(row, 'refund') },
          {
            label: `${TITLES['write-off']}…`,
            danger: true,
            ...(row.owed > 0 ? { onSelect: () => ask(row, 'write-off') } : { disabled: true, hint: 'Nothing is owed' }),
          },
          { label: 'Limits…', onSelect: () => ask(row, 'limits') },
          { label: 'Users and API keys…', onSelect: () => ask(row, 'users') },
          null,
          { label: 'Its agents', href: `/containers?q=${row.id}` },
          { label: 'What operators did', href: `/audit?subject=${row.id}` },
        ]}
      />
    ),
  },
];

/** Organizations, their credit, their users and the keys of those. */
export default function Organizations() {
  const [{ q }, change] = useUrlState(DEFAULTS);
  const search = useDeferredValue(q.trim());
  const ask = useCallback(
    (cursor: string | undefined, signal: AbortSignal) => getOrganizations(search, cursor, signal),
    [search],
  );
  const list = usePages(['organizations', search], ask);
  const [asked, setAsked] = useState<{ organization: Organization; kind: CreditKind | 'limits' } | null>(null);
  const [adding, setAdding] = useState(false);
  /** Whose users are shown. */
  const [users, setUsers] = useState<Pick<Organization, 'id' | 'name'> | null>(null);
  const shown = useMemo(
    () =>
      columns((organization, kind) => (kind === 'users' ? setUsers(organization) : setAsked({ organization, kind }))),
    [],
  );
  const { data } = list.query;
  return (
    <ListPage
      title="Organizations"
      sentence={
        data
          ? organizationsSentence(data.rows, data.more, search !== '')
          : 'Who uses this cloud, and with how much credit.'
      }
      actions={
        <Button look="primary" onClick={() => setAdding(true)}>
          <Plus size={14} aria-hidden="true" /> New organization
        </Button>
      }
      list={list}
      rows={data?.rows}
      caption="Organizations, newest first"
      columns={shown}
      id={(row) => row.id}
      older="Older organizations"
      filters={
        <Filters label="Find an organization">
          <Field label="Part of its name, or its id">
            <TextInput
              type="search"
              value={q}
              maxLength={200}
              onChange={(event) => change({ q: event.target.value })}
            />
          </Field>
        </Filters>
      }
      empty={
        <Note title={search ? 'No organization has this name or id' : 'There is no organization yet'}>
          <p>Add one here. An application that people register with may add others.</p>
        </Note>
      }
    >
      {asked?.kind === 'limits' ? (
        <LimitsDialog organization={asked.organization} onClose={() => setAsked(null)} />
      ) : asked ? (
        <CreditDialog organization={asked.organization} kind={asked.kind} onClose={() => setAsked(null)} />
      ) : null}
      {adding ? (
        <NewOrganization
          onClose={() => setAdding(false)}
          onAdded={(organization) => {
            setAdding(false);
            setUsers(organization);
          }}
        />
      ) : null}
      {users ? <UsersDialog organization={users} onClose={() => setUsers(null)} /> : null}
    </ListPage>
  );
}
