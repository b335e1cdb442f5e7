import { queryOptions, useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { api, unwrap } from '../../api/client';
import { keys } from '../../api/keys';
import type { SchemaBackup, SchemaSnapshotType } from '../../api/openapi.gen';
import { act } from '../../data/agent-actions';
import { nameOf } from '../../data/announcer';
import { every } from '../../data/client';
import { useOperation } from '../../data/operation';
import { useWhyNot } from '../../data/session';
import { possible } from '../../data/shown';
import { toast } from '../../data/toasts';
import { Button } from '../../ui/button';
import { Confirm } from '../../ui/dialog';
import { bytes, many } from '../../ui/format';
import { Block, Load, Note, Skeleton } from '../../ui/states';
import { type Column, DataTable } from '../../ui/table';
import { Age, Moment } from '../../ui/time';
import type { TabProps } from './page';

export const backupOptions = (id: string) =>
  queryOptions({
    queryKey: keys.backups(id),
    queryFn: async ({ signal }) =>
      (await unwrap(api.GET('/api/v1/milady/agents/{agentId}/backups', { params: { path: { agentId: id } }, signal })))
        .data,
    refetchInterval: every(60_000),
  });

async function addressOf(agentId: string, backupId: string): Promise<string> {
  const path = '/api/v1/milady/agents/{agentId}/backups/{backupId}/download';
  return (await unwrap(api.GET(path, { params: { path: { agentId, backupId } } }))).data.url;
}

export function backupWord(type: SchemaSnapshotType): string {
  switch (type) {
    case 'auto':
      return 'Daily';
    case 'manual':
      return 'By hand';
    case 'pre-shutdown':
      return 'Before a stop';
    default:
      return type satisfies never;
  }
}

export default function Backups({ agent, view }: TabProps) {
  const query = useQuery(backupOptions(agent.id));
  const [asked, setAsked] = useState<SchemaBackup | null>(null);
  const can = possible(agent, view.doing);
  const unsaved = useWhyNot('save');
  const denied = useWhyNot('restore');
  const undownloadable = useWhyNot('download');
  const { run: download, busy: downloading } = useOperation((backupId: string) => addressOf(agent.id, backupId), {
    repeatable: true,
    touches: [],
    // The address answers with an attachment, so the page stays.
    onDone: (url) => globalThis.location.assign(url),
    onRefused: (error) => toast({ tone: 'bad', text: error.message }),
  });
  const newest = query.data?.[0]?.id;
  const stopped = agent.status !== 'running';
  const columns = useMemo((): readonly Column<SchemaBackup>[] => {
    const blocked = (backup: SchemaBackup) =>
      denied ??
      (stopped && backup.id !== newest ? 'A stopped agent can be restored from its newest backup only' : null);
    return [
      { id: 'at', header: 'Saved', card: 'title', cell: (backup) => <Moment at={backup.createdAt} /> },
      { id: 'age', header: 'Age', card: 'aside', cell: (backup) => <Age at={backup.createdAt} /> },
      { id: 'type', header: 'Kind', cell: (backup) => backupWord(backup.snapshotType) },
      {
        id: 'size',
        header: 'Size',
        end: true,
        cell: (backup) => (backup.sizeBytes === null ? '-' : bytes(backup.sizeBytes)),
      },
      {
        id: 'actions',
        header: '',
        end: true,
        card: 'actions',
        cell: (backup) => (
          <>
            <Button small blocked={undownloadable} busy={downloading} onClick={() => download(backup.id)}>
              Download
            </Button>{' '}
            <Button
              small
              blocked={blocked(backup)}
              disabled={!(stopped ? can.start : can.save)}
              onClick={() => setAsked(backup)}
            >
              Restore…
            </Button>
          </>
        ),
      },
    ];
  }, [stopped, newest, denied, undownloadable, download, downloading, can.start, can.save]);

  return (
    <Block
      title="Backups"
      query={query}
      actions={
        <Button small blocked={unsaved} disabled={!can.save} onClick={() => act({ kind: 'save', agent: view.row })}>
          Save its state now
        </Button>
      }
    >
      {agent.backupError === null ? null : (
        <Note tone="warn" title="The last daily backup failed">
          <p>{agent.backupError}. It is tried again.</p>
        </Note>
      )}
      <Load query={query} skeleton={<Skeleton lines={4} height="1.75rem" />}>
        {(backups) =>
          backups.length === 0 ? (
            <Note title="No backups yet">
              <p>
                One is made each day while it runs, before each stop, and when you ask for it. Seven, one and three of
                them are kept.
              </p>
            </Note>
          ) : (
            <DataTable caption="Backups" rows={backups} columns={columns} id={(backup) => backup.id} />
          )
        }
      </Load>
      {asked ? (
        <Confirm
          open
          onClose={() => setAsked(null)}
          title={`Restore ${nameOf(agent)}?`}
          action="Restore"
          onConfirm={() => {
            act({ kind: 'restore', agent: view.row, backupId: asked.id });
            setAsked(null);
          }}
        >
          <p>
            Its state is replaced by that of <Moment at={asked.createdAt} />. What happened in the{' '}
            <Age at={asked.createdAt} /> since then is lost.
          </p>
          <p className="muted">
            {stopped
              ? 'It is started with that state, and is charged from then on. '
              : 'It is restarted and does not answer meanwhile. '}
            {many(query.data?.length ?? 0, 'backup')} and its database stay as they are.
          </p>
        </Confirm>
      ) : null}
    </Block>
  );
}
