import { X } from 'lucide-react';
import { ApiError, reason } from '../api/errors';
import { toServer } from '../data/clock';
import { IconButton } from './button';
import { count, money } from './format';
import { Link } from './link';
import css from './refusal.module.css';
import { RequestId } from './states';
import { Status } from './status';
import { Moment } from './time';

type Props = {
  readonly error: Error;
  /** What was refused: "Not stopped". Not said if it may have been done. */
  readonly title?: string;
  readonly onDismiss?: () => void;
  readonly actions?: React.ReactNode;
};

/** Why the server refused something, where it was asked for: in a row, in a form, in a dialog. */
export function Refusal({ error, title, onDismiss, actions }: Props) {
  const api = error instanceof ApiError ? error : null;
  const head = api?.doubt ? 'It is not known whether this was done' : title;
  return (
    <div className={css.refusal} role="alert">
      <Status tone={api?.payment ? 'warn' : 'bad'}>
        {head ? `${head}. ` : ''}
        {api?.payment ? (
          <Missing required={api.payment.required} current={api.payment.current} />
        ) : (
          <span className={css.why}>{reason(error)}</span>
        )}
      </Status>
      {api?.doubt?.repeatable ? <p className="muted">Trying again here does not do it twice.</p> : null}
      {api && api.fields.length > 0 ? (
        <ul className={css.fields}>
          {api.fields.map(({ field, message }) => (
            <li key={`${field} ${message}`}>
              <code>{field}</code> {message}
            </li>
          ))}
        </ul>
      ) : null}
      {api?.limit ? (
        <p className="muted">
          {count(api.limit.used)} of {count(api.limit.allowed)} used
          {api.retryAt === null ? null : (
            <>
              , possible again at <Moment at={toServer(api.retryAt)} seconds />
            </>
          )}
          . <Link href="/credits">See the limits</Link>
        </p>
      ) : null}
      <div className="row">
        {actions}
        {api && api.status !== 402 ? <RequestId id={api.requestId} /> : null}
      </div>
      {onDismiss ? (
        <IconButton small label="Dismiss" className={css.close} onClick={onDismiss}>
          <X size={14} aria-hidden="true" />
        </IconButton>
      ) : null}
    </div>
  );
}

function Missing({ required, current }: { required: number; current: number }) {
  const missing = Math.max(0, Math.ceil((required - current) * 100) / 100);
  return (
    <span className={css.why}>
      Add {money(missing)}: this needs {money(required)}, and there is {money(current)}.
    </span>
  );
}
