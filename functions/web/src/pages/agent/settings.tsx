import { useState } from 'react';
import { useLocation } from 'wouter';
import { nameOf } from '../../data/announcer';
import { useConfig } from '../../data/credit';
import { useWhyNot } from '../../data/session';
import { isCustom, possible } from '../../data/shown';
import { Button } from '../../ui/button';
import { Copy } from '../../ui/copy';
import { Facts } from '../../ui/facts';
import { Block } from '../../ui/states';
import { Badge } from '../../ui/status';
import { DeleteAgent } from '../agents/delete';
import type { TabProps } from './page';
import css from './settings.module.css';

export default function Settings({ agent, view }: TabProps) {
  const [deleting, setDeleting] = useState(false);
  const blocked = useWhyNot('delete');
  const [, navigate] = useLocation();
  const usual = useConfig().data?.defaultImage ?? null;
  const custom = isCustom(agent, usual);
  const names = agent.environmentNames;
  return (
    <div className={css.settings}>
      <Block title="What it is">
        <Facts
          facts={[
            {
              name: 'Image',
              value: (
                <>
                  <code>{agent.dockerImage ?? usual ?? 'the usual image'}</code>{' '}
                  <Badge>{custom ? 'custom' : 'managed'}</Badge>
                </>
              ),
            },
            {
              name: 'Identifier',
              value: (
                <span className={css.id}>
                  <code>{agent.id}</code> <Copy text={agent.id} label="Copy the identifier" />
                </span>
              ),
            },
            agent.nodeId ? { name: 'Host', value: agent.nodeId } : null,
            {
              name: 'Environment',
              value:
                names === undefined ? (
                  <span className="muted">Its variables are not listed yet.</span>
                ) : names.length === 0 ? (
                  'No variables of its own'
                ) : (
                  <ul className={css.names}>
                    {names.map((name) => (
                      <li key={name}>
                        <code>{name}</code>
                      </li>
                    ))}
                  </ul>
                ),
            },
          ]}
        />
        <p className={css.hint}>
          Name, image and variables are fixed when an agent is created. The values of variables are never shown.
        </p>
      </Block>
      <section className={css.danger} aria-labelledby="danger">
        <h2 id="danger">Danger zone</h2>
        <p>
          Deleting {nameOf(agent)} removes its container, its data, its database and all its backups. It cannot be
          undone; what it cost stays in your bill.
        </p>
        <div>
          <Button
            look="danger"
            blocked={blocked}
            disabled={!possible(agent, view.doing).delete}
            onClick={() => setDeleting(true)}
          >
            Delete this agent…
          </Button>
        </div>
      </section>
      {deleting ? (
        <DeleteAgent agent={view.row} onClose={() => setDeleting(false)} onDone={() => navigate('/agents')} />
      ) : null}
    </div>
  );
}
