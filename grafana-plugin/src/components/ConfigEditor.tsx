import { DataSourcePluginOptionsEditorProps } from '@grafana/data';
import {
  AdvancedHttpSettings,
  Auth,
  ConfigSection,
  ConfigSubSection,
  ConnectionSettings,
  convertLegacyAuthProps,
  DataSourceDescription,
} from '@grafana/plugin-ui';
import { config } from '@grafana/runtime';
import { Divider, Field, Input, RadioButtonGroup, SecureSocksProxySettings } from '@grafana/ui';
import React, { ChangeEvent } from 'react';

import { MilestoneOptions, TERMS } from '../types';

type Props = DataSourcePluginOptionsEditorProps<MilestoneOptions>;

interface NumberSetting {
  key: 'defaultHorizon' | 'cacheSeconds' | 'cacheMegabytes' | 'maxSeries' | 'maxMegabytes' | 'maxRequests';
  label: string;
  description: string;
  placeholder: string;
}

const QUESTIONS: NumberSetting[] = [
  {
    key: 'defaultHorizon',
    label: 'Default horizon',
    description: 'Further iterations in a new query',
    placeholder: String(TERMS.horizon),
  },
];

const LIMITS: NumberSetting[] = [
  {
    key: 'cacheSeconds',
    label: 'Cache lifetime (seconds)',
    description: 'How long to cache answers that include the present; 0 disables caching',
    placeholder: '30',
  },
  { key: 'cacheMegabytes', label: 'Cache (MiB)', description: 'Memory for cached histories', placeholder: '96' },
  { key: 'maxSeries', label: 'Series', description: 'Maximum in one answer of the server', placeholder: '2000' },
  {
    key: 'maxMegabytes',
    label: 'Answer (MiB)',
    description: 'Maximum size of one answer of the server',
    placeholder: '64',
  },
  {
    key: 'maxRequests',
    label: 'Requests',
    description: 'Maximum sent to the server at the same time',
    placeholder: '6',
  },
];

export function ConfigEditor({ options, onOptionsChange }: Props) {
  const { jsonData } = options;
  const set = (change: Partial<MilestoneOptions>) =>
    onOptionsChange({ ...options, jsonData: { ...jsonData, ...change } });

  const text = (key: 'history' | 'resolution', label: string, description: string, placeholder: string) => (
    <Field label={label} description={description} htmlFor={`config-${key}`} noMargin={false}>
      <Input
        id={`config-${key}`}
        width={24}
        value={jsonData[key] ?? ''}
        placeholder={placeholder}
        onChange={(e: ChangeEvent<HTMLInputElement>) => set({ [key]: e.target.value || undefined })}
      />
    </Field>
  );
  const number = ({ key, label, description, placeholder }: NumberSetting) => (
    <Field key={key} label={label} description={description} htmlFor={`config-${key}`} noMargin={false}>
      <Input
        id={`config-${key}`}
        type="number"
        min={0}
        width={24}
        value={jsonData[key] ?? ''}
        placeholder={placeholder}
        onChange={(e: ChangeEvent<HTMLInputElement>) =>
          set({ [key]: e.target.value === '' ? undefined : Number(e.target.value) })
        }
      />
    </Field>
  );

  return (
    <>
      <DataSourceDescription
        dataSourceName="Plancast Milestone"
        docsLink="https://github.com/plancast/plancast/blob/main/grafana-plugin/README.md"
        hasRequiredFields
      />
      <Divider spacing={4} />
      <ConnectionSettings
        config={options}
        onChange={onOptionsChange}
        urlPlaceholder="http://localhost:9090"
        urlLabel="Prometheus API URL"
      />
      <Divider spacing={4} />
      <Auth {...convertLegacyAuthProps({ config: options, onChange: onOptionsChange })} />
      <Divider spacing={4} />
      <ConfigSection title="Questions" description="Defaults of new queries.">
        {QUESTIONS.map(number)}
        {text('history', 'History', 'How far back results count', TERMS.history)}
        {text('resolution', 'Scrape interval', 'The finest step at which a history is read', '15s')}
      </ConfigSection>
      <Divider spacing={4} />
      <ConfigSection title="Advanced settings" isCollapsible isInitiallyOpen={false}>
        <AdvancedHttpSettings config={options} onChange={onOptionsChange} />
        <ConfigSubSection title="Requests">
          <Field label="HTTP method" description="POST allows long expressions; some proxies allow GET only">
            <RadioButtonGroup
              aria-label="HTTP method"
              options={[
                { label: 'POST', value: 'POST' as const },
                { label: 'GET', value: 'GET' as const },
              ]}
              value={jsonData.httpMethod ?? 'POST'}
              onChange={(httpMethod) => set({ httpMethod })}
            />
          </Field>
        </ConfigSubSection>
        <ConfigSubSection title="Cache and limits">{LIMITS.map(number)}</ConfigSubSection>
        {config.secureSocksDSProxyEnabled && (
          <SecureSocksProxySettings options={options} onOptionsChange={onOptionsChange} />
        )}
      </ConfigSection>
    </>
  );
}
