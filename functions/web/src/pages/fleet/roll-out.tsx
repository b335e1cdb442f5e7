import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { client } from '../../data/client';
import { Button } from '../../ui/button';
import { Confirm } from '../../ui/dialog';
import { many } from '../../ui/format';
import { Link } from '../../ui/link';
import { PlainTable } from '../../ui/plain-table';
import { Block, Load, Skeleton } from '../../ui/states';
import { Status } from '../../ui/status';
import type { Column } from '../../ui/table';
import { Moment } from '../../ui/time';
import { rollOutOptions } from './data';
import { type RollOutAction, useRollOut } from './operations';
import {
  type LastRollOut,
  rollOutActions,
  rollOutProgress,
  rollOutState,
  shortDigest,
  type Unchanged,
  unchangedWord,
} from './roll-out-words';

const LABELS: Readonly<Record<RollOutAction, string>> = {
  start: 'Roll out',
  pause: 'Pause',
  resume: 'Resume',
  cancel: 'Cancel the roll-out',
};

/** The version of the default image that agents run, and the roll-out of a newer one. */
export function RollOut() {
  const query = useQuery(rollOutOptions, client);
  const [asked, setAsked] = useState<RollOutAction | null>(null);
  const actions = query.data ? rollOutActions(query.data) : [];
  return (
    <Block
      title="Default image"
      query={query}
      actions={actions.map((action) => (
        <Button key={action} onClick={() => setAsked(action)}>
          {LABELS[action]}…
        </Button>
      ))}
    >
      <Load query={query} what="The roll-out" skeleton={<Skeleton lines={2} />}>
        {({ image, digest, outdated, rollOut }) => (
          <div className="stack">
            <p>
              {image}
              {digest === null ? (
                <span className="muted"> No host has pulled it from a registry yet.</span>
              ) : (
                <>
                  {`, version ${shortDigest(digest)}. `}
                  {outdated === 0
                    ? 'Every running agent without an image of its own runs it.'
                    : `${many(outdated, 'agent runs', 'agents run')} another version.`}
                </>
              )}
            </p>
            {rollOut === null ? null : <Last rollOut={rollOut} />}
            {asked === null ? null : (
              <Asking action={asked} digest={digest ?? ''} outdated={outdated} onClose={() => setAsked(null)} />
            )}
          </div>
        )}
      </Load>
    </Block>
  );
}

const COLUMNS: readonly Column<Unchanged>[] = [
  {
    id: 'agent',
    header: 'Agent',
    card: 'title',
    cell: (agent) => (
      <Link href={`/containers?q=${agent.agentId}`}>{agent.agentName ?? agent.agentId.slice(0, 8)}</Link>
    ),
  },
  {
    id: 'outcome',
    header: 'What became of it',
    cell: (agent) => {
      const { tone, word } = unchangedWord(agent);
      return <Status tone={tone}>{word}</Status>;
    },
  },
  { id: 'error', header: 'Why', cell: (agent) => agent.error ?? '' },
];

function Last({ rollOut }: { rollOut: LastRollOut }) {
  const { tone, word } = rollOutState(rollOut);
  return (
    <>
      <p role="status">
        <Status tone={tone}>{word}</Status>{' '}
        {`Version ${shortDigest(rollOut.digest)}: ${rollOutProgress(rollOut)}. Begun `}
        <Moment at={rollOut.requestedAt} />.
      </p>
      {rollOut.agents.length === 0 ? null : (
        <PlainTable
          caption="Agents that do not run the new version"
          rows={rollOut.agents}
          columns={COLUMNS}
          id={(agent) => agent.agentId}
        />
      )}
    </>
  );
}

type AskingProps = {
  readonly action: RollOutAction;
  readonly digest: string;
  readonly outdated: number;
  readonly onClose: () => void;
};

function Asking({ action, digest, outdated, onClose }: AskingProps) {
  const operation = useRollOut(onClose);
  return (
    <Confirm
      open
      danger={action === 'start'}
      title={action === 'start' ? `Roll out version ${shortDigest(digest)}?` : `${LABELS[action]}?`}
      action={LABELS[action]}
      busy={operation.busy}
      error={operation.error}
      onClose={onClose}
      onConfirm={() => operation.run({ action, digest })}
    >
      <p>{effect(action, outdated)}</p>
      <p className="muted">Written to the audit log as you.</p>
    </Confirm>
  );
}

function effect(action: RollOutAction, outdated: number): string {
  switch (action) {
    case 'start':
      return `${many(outdated, 'agent is', 'agents are')} stopped with a snapshot and started again on the same host, three at the same time. They are not charged in between. One that cannot be started with this version is put back on the one that it runs now.`;
    case 'pause':
      return 'No further agent is restarted. Restarts that are under way go on.';
    case 'resume':
      return 'Further agents are restarted. Earlier failures do not pause the roll-out again.';
    case 'cancel':
      return 'Agents that run the new version keep it. Those that are stopped for it are still started.';
  }
}
