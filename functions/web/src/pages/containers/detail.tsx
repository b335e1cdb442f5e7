import { Copy } from '../../ui/copy';
import { factList } from '../../ui/fact-list';
import { Facts } from '../../ui/facts';
import { Moment } from '../../ui/time';
import css from './page.module.css';
import type { ContainerView } from './view';

const Id = ({ text, label }: { text: string; label: string }) => (
  <span className={css.id}>
    <code>{text}</code> <Copy text={text} label={`Copy ${label}`} />
  </span>
);

/** Everything else that is known of a container, with the addresses that operators look for. */
export function Detail({ view }: { view: ContainerView }) {
  const { row } = view;
  const wide = row !== null && 'bridgeUrl' in row ? row : null;
  return (
    <div className={css.more}>
      <Facts
        facts={factList([
          ['Health', view.reason],
          view.errorMessage === null ? null : ['Error in the row', view.errorMessage],
          row !== null && row.errorCount > 0 && ['Errors counted', row.errorCount],
          view.containerName === null
            ? ['Container', 'the row names none']
            : ['Container', <Id key="name" text={view.containerName} label="the container's name" />],
          view.agentId === null ? null : ['Agent', <Id key="agent" text={view.agentId} label="the agent's id" />],
          view.dockerId === null ? null : ['Docker id', <Id key="docker" text={view.dockerId} label="Docker's id" />],
          view.organizationId === null
            ? null
            : [
                view.organization ?? 'Organization',
                <Id key="org" text={view.organizationId} label="the organization's id" />,
              ],
          row === null ? null : ['User', <Id key="user" text={row.userId} label="the user's id" />],
          view.image === null ? null : ['Image', <code key="image">{view.image}</code>],
          row === null ? null : ['Ports', `web ${row.webUiPort ?? 'none'}, bridge ${row.bridgePort ?? 'none'}`],
          row?.headscaleIp ? ['Private address', <code key="ip">{row.headscaleIp}</code>] : null,
          wide?.bridgeUrl ? ['Bridge', <code key="bridge">{wide.bridgeUrl}</code>] : null,
          wide?.healthUrl ? ['Health endpoint', <code key="health">{wide.healthUrl}</code>] : null,
          view.createdAt === null
            ? null
            : [view.kind === 'agent' ? 'Agent created' : 'Created', <Moment key="at" at={view.createdAt} />],
        ])}
      />
    </div>
  );
}
