import { useEffect, useRef } from 'react';
import { ApiError } from '../../api/errors';
import type { Probe } from '../../api/operations';
import { Copy } from '../../ui/copy';
import { Field, TextInput } from '../../ui/field';
import { Status } from '../../ui/status';
import type { Form } from './form';
import css from './page.module.css';

const fieldError = (error: Error | null, field: string) => {
  const found = error instanceof ApiError ? error.fields.find((one) => one.field === field) : undefined;
  return found ? `It ${found.message}.` : null;
};

type FieldsProps = {
  readonly form: Form;
  readonly set: (form: Form) => void;
  readonly error: Error | null;
  readonly named: boolean;
};

export function HostFields({ form, set, error, named }: FieldsProps) {
  const input = (name: keyof Form, rest: React.ComponentProps<'input'> = {}) => (
    <TextInput
      value={form[name]}
      required
      autoComplete="off"
      spellCheck={false}
      onChange={(event) => set({ ...form, [name]: event.target.value })}
      {...rest}
    />
  );
  return (
    <>
      {named ? (
        <Field
          label="Name"
          hint="Letters, digits, dots, dashes. It cannot be changed later."
          error={fieldError(error, 'nodeId')}
        >
          {input('nodeId', { maxLength: 64, pattern: '[A-Za-z0-9][A-Za-z0-9_.\\-]{0,63}', placeholder: 'eu-1' })}
        </Field>
      ) : null}
      <Field label="Host name or address" error={fieldError(error, 'hostname')}>
        {input('hostname', { maxLength: 253, placeholder: 'eu-1.example.com' })}
      </Field>
      <div className={css.two}>
        <Field label="SSH port" error={fieldError(error, 'sshPort')}>
          {input('sshPort', { type: 'number', min: 1, max: 65535 })}
        </Field>
        <Field label="SSH user" hint="root, or in the group docker" error={fieldError(error, 'sshUser')}>
          {input('sshUser', { maxLength: 32 })}
        </Field>
      </div>
      <Field label="Slots" hint="How many agents it has room for." error={fieldError(error, 'capacity')}>
        {input('capacity', { type: 'number', min: 1, max: 1000 })}
      </Field>
    </>
  );
}

/** What a host presented, to be compared with what the machine itself says. */
export function Seen({ probe }: { probe: Probe }) {
  const { fingerprint, keyType, sshOk, error, docker } = probe;
  const room = useRef<HTMLDivElement>(null);
  // The button that was pressed is another one now.
  useEffect(() => room.current?.focus(), []);
  return (
    <div ref={room} tabIndex={-1} className={css.seen}>
      {fingerprint ? (
        <>
          <p>
            It presents this {keyType ?? 'host'} key. Compare it with what the machine itself prints, from a source that
            you trust: <code>ssh-keygen -lf /etc/ssh/ssh_host_…_key.pub</code>
          </p>
          <p className={css.fingerprint}>
            <code>{fingerprint}</code> <Copy text={fingerprint} label="Copy the fingerprint" />
          </p>
        </>
      ) : (
        <Status tone="bad" note="Its key is not known.">
          It could not be reached.
        </Status>
      )}
      {sshOk ? (
        <Status tone="ok">It accepts our key.</Status>
      ) : (
        <Status tone="warn" note={error}>
          We cannot log in.
        </Status>
      )}
      {docker?.ok ? <Status tone="ok">Docker {docker.version ?? 'answers'}.</Status> : null}
      {docker && !docker.ok ? (
        <Status tone="warn" note={docker.error}>
          Docker cannot be read.
        </Status>
      ) : null}
    </div>
  );
}
